"""Tables, repositories, the unit of work, and the PostgreSQL that Comptoir brings along."""
