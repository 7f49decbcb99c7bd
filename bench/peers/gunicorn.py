"""gunicorn as its documentation begins: twice the cores and one more workers, of which one core is
measured; threads, because only they keep connections, as a reverse proxy wants it."""

workers = 3
worker_class = "gthread"
threads = 4
keepalive = 75
loglevel = "error"
