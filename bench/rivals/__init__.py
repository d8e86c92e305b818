"""The contenders beside ours; each runs as a program of its own, with the shop's and the database's address."""
