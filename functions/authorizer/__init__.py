"""The gateway's authorizer: from an API key to a merchant and what the key may do."""
