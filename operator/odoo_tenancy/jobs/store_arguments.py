"""What the commands for people are told of a store. Who they are, the environment says, in AWS's own variables."""

from __future__ import annotations

import argparse

from odoo_tenancy.api.work import StorePlace


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Of ``python -m odoo_tenancy.jobs.<module>``, with the bucket and where it is."""
    made = argparse.ArgumentParser(prog=f"python -m odoo_tenancy.jobs.{module}", description=description)
    made.add_argument("--endpoint", required=True, help="URL of the S3 service")
    made.add_argument("--region", default="us-east-1")
    made.add_argument("--ca-file", default="", help="certificate authorities; default: those of the image")
    made.add_argument("--bucket", required=True)
    return made


def place(chosen: argparse.Namespace) -> StorePlace:
    """What was chosen by these."""
    return StorePlace(
        endpoint=chosen.endpoint, region=chosen.region, bucket=chosen.bucket, ca_file=chosen.ca_file
    )
