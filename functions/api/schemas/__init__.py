"""The bodies that the API takes and gives, as pydantic models; unknown fields are refused."""
