"""How a bucket is reached that a spec names: the Secrets beside the object, and where the endpoint leads to."""

from __future__ import annotations

from urllib.parse import urlsplit

from odoo_tenancy.api.shared import S3Store
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.reconcile.backup_memory import StoreAccess
from odoo_tenancy.reconcile.references import SecretReference, peers_of, read_secret, text

_PORTS = {"https": 443, "http": 80}


async def read_access(
    cluster: Cluster, referrer: str, namespace: str, s3: S3Store, field: str
) -> StoreAccess:
    """Its credentials and authority, read anew.

    Args:
        referrer: kind, namespace and name of the object that names it.
        field: of its spec.

    Raises:
        Refused: a Secret is missing or lacks a value; ``PeersNeeded`` and the like.
    """
    keys = ("access-key-id", "secret-access-key")
    login = SecretReference(referrer, field, namespace, s3.credentials_secret_ref.name, keys)
    values, ca = await read_secret(cluster, login), None
    if s3.ca_secret_ref is not None:
        authority = SecretReference(referrer, field, namespace, s3.ca_secret_ref.name, ("ca.crt",))
        ca = text(await read_secret(cluster, authority), "ca.crt")
    url = urlsplit(s3.endpoint)
    port = url.port or _PORTS[url.scheme]
    peers = await peers_of(cluster, url.hostname or "", port, s3.peers, field)
    return StoreAccess(text(values, "access-key-id"), text(values, "secret-access-key"), ca, peers)
