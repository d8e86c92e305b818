"""Parts of the sandbox: what a Vendure shop keeps, and how it answers GraphQL."""
