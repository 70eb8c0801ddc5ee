"""The rooms of the report page: what it shows, one module a part."""
