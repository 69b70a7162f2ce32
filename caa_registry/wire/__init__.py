"""Records as JSON: one shape for ``--json``, for a server and for a page. A module a noun."""
