"""The pictures of rows: found where they lie, made small, hidden where they are not to be seen just so."""
