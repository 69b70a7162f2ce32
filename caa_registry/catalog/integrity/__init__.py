"""What is read is checked: the schema of the file, the digests of rows, and what is said of damage."""
