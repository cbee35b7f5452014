"""Talking HTTP to addresses that a person wrote into a configuration, and that may be wrong or hostile.

`urls` says what is an address, `addresses` where it may lead, `client` sends one request there: looked up once,
connected to exactly that address, over verified TLS, without redirects or proxies, under limits of size and of the time
that all of it may take. `tokens` keeps the secret that goes with it.
"""
