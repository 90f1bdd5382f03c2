"""Who a peer is: certificates with an identity in a URI, the list of those that may call, and tokens."""
