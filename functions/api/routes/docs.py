"""`/openapi.json` and `/docs`."""

import json
from typing import cast

from aws_lambda_powertools.event_handler import Response

from api.app import Api, Resource
from api.rendering import ok

router = Resource()


@router.get("/openapi.json", summary="This document", tags=["operations"], include_in_schema=False)
def get_openapi() -> Response[str]:
    from api.openapi import document  # nothing else needs it

    return ok(json.dumps(document(cast("Api", router.api_resolver))))


@router.get("/docs", summary="A page to read it on", tags=["operations"], include_in_schema=False)
def get_docs() -> Response[str]:
    from api.docs_page import page

    return Response(200, "text/html; charset=utf-8", page(), headers={"Cache-Control": "max-age=300"})
