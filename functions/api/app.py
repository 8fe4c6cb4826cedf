"""The resolver: Powertools' HTTP API resolver with the key checked first, then parameters and body."""

from typing import Any, Final

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.api_gateway import ResponseBuilder, Route, Router
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.middlewares.openapi_validation import OpenAPIRequestValidationMiddleware
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Dependant

from api import problems
from api.bodies import MAX_BATCH_BYTES, MAX_BODY_BYTES, read_body
from api.callers import Caller, caller_of
from api.faults import Fault, ForbiddenError, InvalidRequestError, MethodNotAllowedError

KEYLESS: Final = frozenset({"/health", "/openapi.json", "/docs"})
"""The only routes without a key."""
SCHEME: Final = "api_key"


def needs(permission: str) -> list[dict[str, list[str]]]:
    """What a route declares as its `security`: OpenAPI 3.1 lets a key's scheme name the permission that is needed."""
    return [{SCHEME: [permission]}]


class _Admission(OpenAPIRequestValidationMiddleware):
    """A key with the route's permission first; then no unknown parameters; the body by our own reader."""

    def handler(self, app: Any, next_middleware: Any) -> Response[Any]:
        route: Route = app.context["_route"]
        if route.path not in KEYLESS:
            caller = caller_of(app.current_event.raw_event)
            caller.needs(_permission_of(route))
            app.append_context(caller=caller)
        self._refuse_unknown_parameters(app, route)
        needed = route.dependant
        if needed.path_params or needed.query_params or needed.cookie_params:
            response: Response[Any] = super().handler(app, next_middleware)
        else:
            app.context["_route_args"] = self._headers_and_body(app, needed)
            response = next_middleware(app)
        return response

    def _headers_and_body(self, app: Any, needed: Dependant) -> dict[str, Any]:
        """What Powertools would read, for a third of the time that it takes: these are the routes that make jobs."""
        sent = app.current_event.raw_event.get("headers") or {}
        values: dict[str, Any] = {}
        errors: list[Any] = []
        for field in needed.header_params:
            alias = field.alias.lower()
            value = next((sent[name] for name in sent if name.lower() == alias), None)
            if value is None and not field.required:
                values[field.name] = field.get_default()
            else:
                values[field.name], found = field.validate(value, loc=("header", field.alias))
                errors += found or ()
        for field in needed.body_params:
            values[field.name], found = field.validate(self._get_body(app), loc=("body",))
            errors += found or ()
        if errors:
            raise RequestValidationError(errors)
        return values

    def _refuse_unknown_parameters(self, app: Any, route: Route) -> None:
        given = app.current_event.raw_event.get("queryStringParameters")
        if not given:
            return
        known = {field.alias for field in route.dependant.query_params}
        unknown = [name for name in given if name not in known]
        if unknown:
            raise InvalidRequestError(*(Fault("is not a known parameter", parameter=name) for name in unknown))

    def _get_body(self, app: Any) -> dict[str, Any]:
        most = MAX_BATCH_BYTES if app.context["_route"].path.endswith("/batch") else MAX_BODY_BYTES
        return read_body(app.current_event.raw_event, most)


class Resource(Router):
    """The routes of one resource."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Powertools

    @property
    def caller(self) -> Caller:
        """Who asks, in the request that is being served; admission has made sure of it."""
        caller: Caller = self.context["caller"]
        return caller


class _Answer(ResponseBuilder[Any]):
    """A response as it is: no route compresses, and Powertools would read all headers to see whether it might."""

    def _route(self, event: Any, cors: Any) -> None:
        pass


class Api(APIGatewayHttpResolver):
    """Every request and every fault of it: the caller is in `context["caller"]`, faults become problems.

    Powertools finds the route and knows its parameters. Its stack of middlewares is left out: admission is the only
    one, and what routes answer is text that is not to be validated once more.
    """

    def __init__(self) -> None:
        super().__init__(enable_validation=True)
        self._admission = _Admission()  # type: ignore[no-untyped-call] # Powertools
        self._response_builder_class = _Answer

    def _handle_not_found(self, method: str, path: str) -> ResponseBuilder[Any]:  # noqa: ARG002 - Powertools' signature
        allowed = sorted({route.method for route in self.routes() if route.rule.match(path)})
        error = MethodNotAllowedError(allowed) if allowed else NotFoundError()
        return self._response_builder_class(response=problems.answer(error), serializer=self._serializer)

    def _call_route(self, route: Route, route_arguments: dict[str, str]) -> ResponseBuilder[Any]:
        self.context["_route_args"] = route_arguments
        try:
            response = self._admission.handler(self, _call)
        except Exception as error:  # noqa: BLE001 - whatever it is becomes a problem
            response = problems.answer(error)
        return self._response_builder_class(response=response, serializer=self._serializer, route=route)

    def routes(self) -> list[Route]:
        """Every route there is."""
        return [*self._static_routes, *self._dynamic_routes]


def _call(app: Any) -> Response[Any]:
    response: Response[Any] = app.context["_route"].func(**app.context["_route_args"])
    return response


def _permission_of(route: Route) -> str:
    """The permission that a route declares; a route that declares none is closed to everyone."""
    for requirement in route.security or ():
        for permission in requirement.get(SCHEME, ()):
            return permission
    raise ForbiddenError("this route is not open to any key")
