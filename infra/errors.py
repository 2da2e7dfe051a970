"""What can go wrong with the ground Scarp stands on.

InfraError                      the one base; `scarp` prints its sentence and exits with its code
├── PostgresMissingError        no PostgreSQL with PostGIS is installed on this machine
├── ClusterError                the private cluster cannot be created, started or stopped
├── DatabaseError               a database cannot be reached, dumped or restored
├── SchemaError                 the database's schema is newer than this Scarp
├── PoolError                   a file of base job templates, or a work pool, is not as it must be
└── ServiceError                a program that `scarp up` keeps running does not run

`infra` stands beside `tasks`, not on it, so these are not `tasks.errors.ScarpError`.
"""


class InfraError(Exception):
    """Base of every error of `infra`; its text is one sentence that says what to do."""

    exit_code = 1


class PostgresMissingError(InfraError):
    """No PostgreSQL with PostGIS is installed on this machine."""


class ClusterError(InfraError):
    """The private cluster cannot be created, started or stopped."""


class DatabaseError(InfraError):
    """A database cannot be reached, dumped or restored."""


class SchemaError(InfraError):
    """The database's schema is newer than this Scarp."""


class PoolError(InfraError):
    """A file of base job templates, or a work pool, is not as it must be."""

    exit_code = 2


class ServiceError(InfraError):
    """A program that `scarp up` keeps running does not run, or one is in the way."""
