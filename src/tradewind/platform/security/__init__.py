"""Keys of the server, tokens made from them, and who a caller is."""
