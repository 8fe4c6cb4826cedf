"""The documentation page: Swagger UI from Powertools' own bundle, so that nothing is loaded from elsewhere."""

from functools import cache
from importlib.resources import files

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Task scheduler API</title>
<style>{css}</style>
</head>
<body>
<div id="swagger-ui"></div>
<script>{js}</script>
<script>
SwaggerUIBundle({{
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, persistAuthorization: true,
  displayRequestDuration: true, presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout"
}});
</script>
</body>
</html>
"""


@cache
def page() -> str:
    """HTML, about 1.5 MB, self-contained but for `openapi.json` beside it."""
    bundle = files("aws_lambda_powertools.event_handler.openapi").joinpath("swagger_ui")
    return _PAGE.format(
        css=bundle.joinpath("swagger-ui.min.css").read_text(encoding="utf-8"),
        js=bundle.joinpath("swagger-ui-bundle.min.js").read_text(encoding="utf-8").replace("</script", "<\\/script"),
    )
