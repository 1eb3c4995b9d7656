"""OpenAPI documents of the served resources: version 3 by group, version 2 as one document.

Belongs here: turning schema tables and resources into documents, and version 2 into the protobuf
form that older kubectls ask for. Does not belong here: serving, caching, ETags.
"""

from cluster.machinery.openapi.custom import CustomSchema
from cluster.machinery.openapi.gnostic import encode as encode_v2_protobuf
from cluster.machinery.openapi.merging import merged, trimmed, upgraded
from cluster.machinery.openapi.schemas import Describe
from cluster.machinery.openapi.v2 import document as v2_document
from cluster.machinery.openapi.v3 import document as v3_document
from cluster.machinery.openapi.v3 import paths_by_group_version

__all__ = [
    "CustomSchema",
    "Describe",
    "encode_v2_protobuf",
    "merged",
    "paths_by_group_version",
    "trimmed",
    "upgraded",
    "v2_document",
    "v3_document",
]
