"""The local stack: real servers, the real handlers, and what stands in for API Gateway, Lambda and EventBridge."""
