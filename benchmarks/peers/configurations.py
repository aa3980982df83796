"""How nginx and haproxy are configured for the comparison: one process, buffers that hold whole audio messages."""

from __future__ import annotations

from pathlib import Path

from benchmarks.certificate import SERVER_NAME

_NGINX = """\
daemon off;
user {user};
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 1000000;
    upstream elevenlabs {{
        server 127.0.0.1:{upstream_port};
        keepalive 64;
        keepalive_requests 1000000;
    }}
    # With Debian's 4k a message takes three or four reads and as many writes.
    proxy_buffer_size 64k;
    proxy_buffers 8 64k;
    proxy_busy_buffers_size 128k;
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
{tls}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass {scheme}://elevenlabs;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
        location /v1/text-to-speech/ {{
            proxy_pass {scheme}://elevenlabs;
            proxy_set_header Host $host;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""

_NGINX_TLS = """\
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {authority};
    proxy_ssl_name {name};
    proxy_ssl_server_name on;
"""

_HAPROXY = """\
global
    nbthread 1
    maxconn {connections}
    # As large as nginx's: with the 16k that haproxy has by itself an audio message may take two rounds.
    tune.bufsize 65536
defaults
    mode http
    option http-keep-alive
    option http-no-delay
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend conversations
    bind 127.0.0.1:{port} backlog 1024
    default_backend upstream
backend upstream
    http-reuse always
    server upstream 127.0.0.1:{upstream_port}{tls}
"""


def nginx(folder: Path, port: int, upstream_port: int, authority: Path | None, connections: int) -> str:
    """nginx.conf for one worker; everything that it writes lands in `folder`. A connection needs two files."""
    return _NGINX.format(
        folder=folder,
        # A master that runs as root would have its worker write as somebody else into a folder that is ours alone.
        user=folder.owner(),
        port=port,
        upstream_port=upstream_port,
        files=connections * 2,
        scheme="https" if authority else "http",
        tls=_NGINX_TLS.format(authority=authority, name=SERVER_NAME) if authority else "",
    )


def haproxy(port: int, upstream_port: int, authority: Path | None, connections: int) -> str:
    """haproxy.cfg for one thread in one process."""
    tls = f" ssl verify required ca-file {authority} sni str({SERVER_NAME})" if authority else ""
    return _HAPROXY.format(port=port, upstream_port=upstream_port, connections=connections, tls=tls)
