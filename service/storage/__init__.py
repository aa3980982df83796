"""What is kept in the database."""

from service.storage.api_keys import ApiKey, ApiKeys
from service.storage.configured import database_url
from service.storage.database import Database, open_database
from service.storage.schema import check_schema

__all__ = ["ApiKey", "ApiKeys", "Database", "check_schema", "database_url", "open_database"]
