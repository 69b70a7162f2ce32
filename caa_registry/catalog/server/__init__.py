"""PostgreSQL: how it is connected to, what it says in words for people, and the roles of a team."""
