"""Shapes of the API's JSON, one definition for the server, its OpenAPI document and the client.

One module by subject. Every field says its unit and meaning in a `Meta(description=…)`, which the document shows, and
`fields` has the types that several share. Nothing here knows a web framework, and nothing computes.
"""
