"""EBP: sales documents, customers and journal entries handed over as the files that EBP imports."""
