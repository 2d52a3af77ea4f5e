"""Print the schemas of the gateway's OpenAPI document; ``src/api/gateway.ts`` is made from it (``make api-types``)."""

import json

from fastapi import FastAPI
from zentoria_backend import openapi, routes

app = FastAPI(title="Zentoria MCP API gateway", version="1")
routes.install(app)
openapi.install(app)
schemas = app.openapi()["components"]["schemas"]
info = {"title": app.title, "version": app.version}
print(json.dumps({"openapi": "3.1.0", "info": info, "paths": {}, "components": {"schemas": schemas}}))
