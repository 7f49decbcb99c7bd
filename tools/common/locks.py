"""Locks of files between processes."""

import errno
import fcntl
from typing import IO

# Some NFS, and folders that virtual machines share with their host, have none. Two runs at the same time are rarer.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def locked(file: IO[str], *, wait: bool) -> bool:
    """Whether this process has the lock; it is free again when the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True
