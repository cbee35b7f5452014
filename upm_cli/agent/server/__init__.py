"""`upm agent serve`: an agent behind HTTP. Models come in by PUT, or are pulled; predictions go out.

docs/reference/agent-http.md has the interface, which is made from `openapi`.
"""
