"""The gateway's slow work: subscribing webhooks, and telling them."""
