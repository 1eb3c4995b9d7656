"""Groups and versions that other API servers serve, behind this one (upstream's kube-aggregator).

Belongs here: following APIServices, finding and calling the servers behind them, saying whether
they are available, and what they add to discovery and OpenAPI. Does not: authentication and
authorisation of a request, which come before; what an APIService is (machinery.apiservices).
"""
