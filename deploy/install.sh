#!/bin/sh
# Installs Xunling on one Debian machine without containers: PostgreSQL 15 and Caddy from Debian, the rest in /opt/xunling.
# Run it as root from a checkout; run it again to upgrade. Nothing that exists is overwritten but the program itself.
#
#   XUNLING_DOMAIN=xunling.example.cn deploy/install.sh
#
# docs/how-to/deploy.md says what comes before and after.
set -eu
cd "$(dirname "$0")/.."
umask 022

home=/opt/xunling
state=/var/lib/xunling
etc=/etc/xunling

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "请以 root 运行。 Run it as root."
[ -n "${XUNLING_DOMAIN:-}" ] || [ -e "$etc/env" ] || fail "请指定域名 Name the domain: XUNLING_DOMAIN=xunling.example.cn deploy/install.sh"

packages() {
    say "== Debian 软件包 packages"
    apt-get update -qq
    # as the packages decide: Debian's PostgreSQL makes its cluster, Caddy its service
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        postgresql caddy python3 python3-venv fonts-noto-cjk util-linux > /dev/null
}

account_and_folders() {
    say "== 用户与目录 account and folders"
    id xunling > /dev/null 2>&1 || useradd --system --home-dir "$state" --shell /usr/sbin/nologin xunling
    install -d -o xunling -g xunling -m 700 "$state" "$state/photos" "$state/tmp" /backup /backup/tmp
    install -d -o root -g xunling -m 750 "$etc"
}

program() {
    say "== 程序 program"
    install -d "$home"
    for part in contracts sync storage api phone server bin pyproject.toml requirements.txt README.md LICENSE; do
        rm -rf "${home:?}/$part"
        cp -R "$part" "$home/$part"
    done
    (cd "$home" && PYTHON=/usr/bin/python3 ./bin/venv run) # the account of the services cannot reach a Python in /root
}

configuration() {
    say "== 配置与密钥 configuration and secrets"
    "$home/.venv/bin/python" -m server secrets "$etc/secrets" | sed 's/^/   /'
    chown -R xunling:xunling "$etc/secrets"
    [ -e "$etc/env" ] || sed "s|//DOMAIN|//$XUNLING_DOMAIN|" deploy/machine.env > "$etc/env"
    [ -e "$etc/proxy.env" ] || echo "XUNLING_DOMAIN=$XUNLING_DOMAIN" > "$etc/proxy.env"
    chmod 640 "$etc/env" "$etc/proxy.env"
    chgrp xunling "$etc/env"
}

database() {
    say "== 数据库 database"
    # systemd starts it on a machine; without one the cluster is started here
    pg_lsclusters -h | grep -q online || pg_ctlcluster "$(pg_lsclusters -h | awk 'NR==1{print $1}')" main start
    for role in xunling_owner xunling; do
        secret=pg_password
        [ "$role" = xunling ] || secret=pg_owner_password
        # the password goes through standard input: no list of processes shows it
        printf "SELECT 'CREATE ROLE %s LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%s') \\gexec\nALTER ROLE %s PASSWORD '%s';\n" \
            "$role" "$role" "$role" "$(cat "$etc/secrets/$secret")" | as_postgres psql -qX -v ON_ERROR_STOP=1
    done
    as_postgres psql -qXAt -c "SELECT 1 FROM pg_database WHERE datname = 'xunling'" | grep -q 1 ||
        as_postgres createdb --owner=xunling_owner --encoding=UTF8 --locale=C --template=template0 xunling
    for setting in "timezone = 'UTC'" "random_page_cost = 1.1" "log_error_verbosity = 'terse'" "log_parameter_max_length = 0" "log_parameter_max_length_on_error = 0"; do
        as_postgres psql -qX -c "ALTER SYSTEM SET $setting"
    done
    as_postgres psql -qXAt -c "SELECT pg_reload_conf()" > /dev/null
}

as_postgres() { (cd / && runuser -u postgres -- "$@"); }

proxy() {
    say "== 代理 proxy"
    install -d -m 755 /etc/caddy/certificates /etc/systemd/system/caddy.service.d
    install -m 644 deploy/Caddyfile /etc/caddy/Caddyfile
    install -m 644 deploy/systemd/caddy.conf /etc/systemd/system/caddy.service.d/xunling.conf
}

services() {
    say "== 服务 services"
    for unit in deploy/systemd/xunling-*; do
        install -m 644 "$unit" /etc/systemd/system/
    done
    install -d /etc/systemd/journald.conf.d
    install -m 644 deploy/journald.conf /etc/systemd/journald.conf.d/xunling.conf
    if [ ! -d /run/systemd/system ]; then
        say "   本机没有运行 systemd：服务已安装，未启动。 systemd does not run here: the services are installed and not started."
        return
    fi
    systemctl daemon-reload
    systemctl restart systemd-journald
    systemctl enable -q --now xunling-store xunling-s3
    systemctl stop xunling-worker xunling-server xunling-migrate
    systemctl enable -q --now xunling-migrate xunling-worker xunling-server xunling-check.timer xunling-backup.timer
    systemctl restart caddy
}

packages
account_and_folders
program
configuration
database
proxy
services
say "完成。下一步：创建第一个管理员，见 docs/how-to/deploy.md"
say "Done. Next: the first admin, see docs/how-to/deploy.md"
