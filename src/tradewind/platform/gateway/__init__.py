"""HTTP: one declared route table drives the application, OpenAPI, permissions, limits and docs."""
