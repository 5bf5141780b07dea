"""The rows of the table, a module for one or two of them."""
