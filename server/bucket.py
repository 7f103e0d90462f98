"""The bucket for photos, made at the first start."""

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from server.settings import S3Settings
from server.trouble import StartError


def ensure_bucket(settings: S3Settings) -> None:
    """Make the bucket when it is missing. StartError when S3 is not there or refuses us."""
    client = boto3.client(
        "s3",
        endpoint_url=settings.endpoint,
        aws_access_key_id=settings.access_key.get_secret_value(),
        aws_secret_access_key=settings.secret_key.get_secret_value(),
        region_name=settings.region,
        config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3}),
    )
    try:
        if settings.bucket not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=settings.bucket)
    except (BotoCoreError, ClientError) as error:
        raise StartError("无法使用 S3 存储：", f"The S3 at {settings.endpoint} cannot be used: {error}") from None
