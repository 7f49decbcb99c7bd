"""gunicorn as its documentation recommends: two workers for each core and one more, measured on one
core; threads, because only they keep connections open for a reverse proxy."""

workers = 3
worker_class = "gthread"
threads = 4
keepalive = 75
loglevel = "error"
