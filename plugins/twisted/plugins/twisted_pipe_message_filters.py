"""The bundled message filters."""

from twisted_pipe.filters.messages.base import MessageFilterPlugin

basic_auth = MessageFilterPlugin(
    "basic-auth",
    "Asks for a name and a password of an htpasswd file.",
    "twisted_pipe.filters.messages.basic_auth:BasicAuth",
)
auth_request = MessageFilterPlugin(
    "auth-request",
    "Asks an HTTP service whether a request may go on.",
    "twisted_pipe.filters.messages.auth_request:AuthRequest",
)
cors = MessageFilterPlugin(
    "cors",
    "Lets pages of other origins use what is here.",
    "twisted_pipe.filters.messages.cors:Cors",
)
request_id = MessageFilterPlugin(
    "request-id",
    "Gives each request an id that everybody is told.",
    "twisted_pipe.filters.messages.request_id:RequestId",
)
security_headers = MessageFilterPlugin(
    "security-headers",
    "Adds header fields that make browsers careful.",
    "twisted_pipe.filters.messages.security_headers:SecurityHeaders",
)
substitution = MessageFilterPlugin(
    "substitution",
    "Replaces text in the bodies of responses of some types.",
    "twisted_pipe.filters.messages.substitution:Substitution",
)
