"""CustomResourceDefinitions at work: serving what they define, and keeping their status.

Belongs here: what a server does because of definitions. Does not: what a definition says
(`cluster.machinery.customresources`) and schemas (`cluster.machinery.structural`).
"""
