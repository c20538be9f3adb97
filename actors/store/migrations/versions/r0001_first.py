"""Where the migrations begin: databases that were made with the first schema have this revision."""

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing: a new database is made from the metadata (`actors.store.schema`)."""
