"""The sentences of requests: what to ask of each party, by cause and hop.

Each is an order, with places for the values of a case: ``{case.where}`` and so on.
"""

from ..hops import Cause, Hop, Party

_LOGIN_FILE = (
    "write the line {case.login_url} into a file (chmod 600 FILE), and add --proxy-file FILE"
)
OLD_ANCHOR = (
    "renew this machine's list of CAs (apt-get install --only-upgrade ca-certificates), or give the"
    " current CA (--ca FILE)"
)
_GIVE_PATH = (
    "tell which host, port and path a device must use for MQTT over WebSocket; {case.where}"
    "{case.path} is answered with {case.status}"
)
BY_STATUS = {
    "HTTP 403": "let this device open a WebSocket on {case.where}{case.path}, which is answered"
    " with 403 (by the client's address, an Origin header, or a filter before it)",
    "HTTP 505": "switch on HTTP/1.1 in the reverse proxy before {case.where} (nginx:"
    " proxy_http_version 1.1), which WebSocket needs: a request is answered with 505",
}
"""Sentences for a refused upgrade, by its status."""

_INSTALL = (
    "replace the certificate {case.subject} in the chain that {case.where} sends by a valid one: "
)
_NETWORK_OPEN = (
    "allow this device to connect to {case.where} (TCP, outgoing; TLS without inspection,"
    " {case.carried}), or say which proxy it must use"
)
_INSPECTION = "exempt {case.host} from TLS inspection: "
_THROUGH = (
    "let this device through {case.proxy} to {case.where} (CONNECT, a tunnel that stays open for"
    " hours, without TLS inspection)"
)
_OWN_CHAIN = (
    "check what the device shows (openssl x509 -in FILE -noout -subject -issuer -enddate), put the"
    " intermediate CAs behind it in the same file, and give it with --cert"
)

USUAL = {
    Party.CALLER: "correct the argument",
    Party.HOST: 'follow the line "try" above: it is a setting of this machine',
    Party.NETWORK: _NETWORK_OPEN,
    Party.PROXY: _THROUGH,
    Party.SERVER: "see what your log says of this device's connection to {case.where}, and whether"
    " the service there works",
}

SENTENCES: dict[tuple[Party, Cause, Hop | None], str] = {
    # The network team
    **{
        (Party.NETWORK, cause, hop): f"{_NETWORK_OPEN}; at present {ends}"
        for cause, hop, ends in (
            (Cause.SILENT, Hop.TCP, "packets to it vanish"),
            (Cause.REFUSED, Hop.TCP, "connections to it are refused"),
            (Cause.REJECTED, Hop.TCP, "a firewall or router rejects connections to it (ICMP)"),
            (Cause.SILENT, Hop.TLS, "TCP connects, and TLS is not answered"),
            (Cause.CUT_OFF, Hop.TLS, "TCP connects, and TLS is cut off at its first message"),
            (Cause.SILENT, Hop.UPGRADE, "a request for a WebSocket is not answered"),
            (Cause.CUT_OFF, Hop.UPGRADE, "a request for a WebSocket is cut off"),
            (Cause.SILENT, Hop.CONNECT, "MQTT's CONNECT is not answered"),
        )
    },
    (Party.NETWORK, Cause.NAME_UNKNOWN, None): "have the name {case.host} resolved here, or say"
    " which proxy this device must use ({case.answered})",
    (Party.NETWORK, Cause.NAME_UNKNOWN, Hop.PROXY_NAME): "have the name of the proxy {case.proxy}"
    " resolved here, or say which proxy this device must use ({case.answered})",
    (Party.NETWORK, Cause.NAME_SERVER_FAILED, Hop.PROXY_NAME): "mend the name servers that this"
    " device uses, or say which ones it must use: the name of the proxy {case.proxy} cannot be"
    " resolved ({case.answered})",
    (Party.NETWORK, Cause.NAME_SERVER_FAILED, None): "mend the name servers that this device uses,"
    " or say which ones it must use: {case.host} cannot be resolved ({case.answered})",
    (Party.NETWORK, Cause.NAME_BLOCKED, None): "allow the name {case.host}: your name server"
    ' (a DNS filter) answers an address that means "blocked"',
    (Party.NETWORK, Cause.NO_IPV6, None): "give this network IPv6, or say which proxy this device"
    " must use: {case.host} has IPv6 addresses only ({case.address})",
    (Party.NETWORK, Cause.SILENT, Hop.PROXY_TCP): "allow this device to connect to {case.proxy}:"
    " packets to it vanish",
    (Party.NETWORK, Cause.REJECTED, Hop.PROXY_TCP): "allow this device to connect to {case.proxy}:"
    " a firewall rejects it",
    (Party.NETWORK, Cause.TLS_1_3_INTOLERANT, None): "update the firewall before {case.where}: it"
    " drops or resets TLS 1.3 (a ClientHello with supported_versions), while TLS 1.2 passes; or"
    " exempt this host",
    (Party.NETWORK, Cause.INTERCEPTED, None): _INSPECTION + "its certificate is replaced on the way"
    " by one from {case.issuer}",
    (Party.NETWORK, Cause.CERTIFICATE_SELF_SIGNED, None): "say which device of yours answers TLS"
    " for {case.host} with the certificate {case.subject}, and exempt this host from it",
    (Party.NETWORK, Cause.CERTIFICATE_BROKEN, None): _INSPECTION + "its certificate is altered on"
    " the way",
    (Party.NETWORK, Cause.BLOCKED_BY_POLICY, None): "allow this device to open a WebSocket to"
    " {case.where}: a filter answers {case.status} in the server's place",
    (
        Party.NETWORK,
        Cause.UPGRADE_SWALLOWED,
        None,
    ): "let WebSocket to {case.where} pass: a device"
    " on the way does not pass on the headers Upgrade and Connection",
    (Party.NETWORK, Cause.PROXY_LOGIN_MISSING, None): "let this device pass to {case.where} without"
    " a login, or give it one: a transparent proxy answers 407",
    (Party.NETWORK, Cause.CAPTIVE_PORTAL, None): "let this device (by its MAC address) pass to"
    " {case.where} without your login page, which it cannot fill in",
    (Party.NETWORK, Cause.BLACK_HOLE, None): 'let ICMP "fragmentation needed" and "packet too big"'
    " pass, or lower the MSS: larger packets between this device and {case.where} vanish",
    (Party.NETWORK, Cause.UPGRADE_REFUSED, None): "say whether a filter of yours answers"
    " {case.status} for {case.where}, and allow this device to open a WebSocket there",
    (Party.NETWORK, Cause.TLS_ALERT, None): "say whether a device of yours breaks off TLS to"
    " {case.where}, and exempt this host from inspection",
    **{
        (Party.NETWORK, cause, Hop.REGISTER): _INSPECTION + "a device's certificate cannot pass it"
        " (the server's own comes from {case.issuer} here)"
        for cause in (Cause.INTERCEPTED, Cause.WRONG_KEY, Cause.NOT_AUTHORIZED)
    },
    # The proxy's team
    (Party.PROXY, Cause.PROXY_FORBIDS, None): "allow this device CONNECT to {case.where} through"
    " {case.proxy} (a tunnel that stays open for hours, without TLS inspection): it is forbidden",
    (Party.PROXY, Cause.PROXY_CANNOT_REACH, None): "see from {case.proxy} itself whether"
    " {case.host} can be resolved and {case.where} be connected to, and mend its name server or"
    " open the firewall behind it",
    (Party.PROXY, Cause.PROXY_LOGIN_REFUSED, None): "give this device a login that {case.proxy}"
    " accepts, or unlock its account: the one that it has is refused",
    (Party.PROXY, Cause.PROXY_LOGIN_SCHEME, None): "exempt {case.where} from the login at"
    " {case.proxy} for this device, or offer a login by user name and password (HTTP's Basic, or"
    " SOCKS5): it has no other",
    (Party.PROXY, Cause.NOT_A_PROXY, None): "say which scheme, host and port the proxy for this"
    " device has: {case.proxy} does not connect to {case.where} as it was asked to",
    (Party.PROXY, Cause.THROTTLED, None): "raise the limit of {case.proxy} for this device, or say"
    " when it may come back",
    (Party.PROXY, Cause.CUT_OFF, Hop.PROXY): "see in the log of {case.proxy} why it closes on this"
    " device's CONNECT to {case.where} without an answer",
    (Party.PROXY, Cause.SILENT, Hop.PROXY): "see in the log of {case.proxy} why CONNECT to"
    " {case.where} is not answered: a firewall behind it may be shut",
    (Party.PROXY, Cause.REFUSED, None): "start the proxy {case.proxy}, or say which host and port"
    " it has: nothing listens there",
    (Party.PROXY, Cause.INTERCEPTED, None): _INSPECTION + "{case.proxy} replaces its certificate by"
    " one from {case.issuer}",
    (Party.PROXY, Cause.TLS_1_3_INTOLERANT, None): "update {case.proxy} or the firewall behind it:"
    " TLS 1.3 to {case.where} is dropped or reset, while TLS 1.2 passes",
    (Party.PROXY, Cause.ISSUER_UNKNOWN, None): "send the CA certificate (PEM) that signed the"
    " certificate of {case.proxy}, so that this device can trust it (--ca FILE)",
    (Party.PROXY, Cause.CERTIFICATE_EXPIRED, None): "renew the certificate of {case.proxy}: it"
    " ended on {case.ended}",
    (Party.PROXY, Cause.CERTIFICATE_OTHER_NAME, None): "say by which name {case.proxy} must be"
    " reached: its certificate is for {case.names}",
    **{
        (Party.PROXY, cause, Hop.TLS): "let {case.where} pass {case.proxy} without TLS inspection:"
        " CONNECT is answered with 200, and TLS through it " + ends
        for cause, ends in (
            (Cause.CUT_OFF, "breaks off"),
            (Cause.SILENT, "is not answered"),
            (Cause.NOT_TLS, "is answered by something that is not TLS"),
        )
    },
    # The server's operator
    (Party.SERVER, Cause.NAME_UNKNOWN, None): "give the name {case.host} an address in DNS, or say"
    " by which name the server is reached",
    (Party.SERVER, Cause.REFUSED, None): "start the service on {case.where}, or say which port it"
    " has, and see whether your firewall lets this device in: connections are refused",
    (Party.SERVER, Cause.SILENT, Hop.TCP): "see whether the service on {case.where} is up and your"
    " firewall lets this device in: it does not answer to TCP",
    (Party.SERVER, Cause.PROXY_CANNOT_REACH, None): "see whether the service on {case.where} is up"
    " and your firewall lets the proxy {case.proxy} in: it says that it cannot reach it",
    (Party.SERVER, Cause.SILENT, Hop.TLS): "see whether TLS is served on {case.where}: TCP connects"
    " there, and TLS is not answered",
    (Party.SERVER, Cause.CUT_OFF, Hop.TLS): "see whether TLS is served on {case.where}: TCP"
    " connects there, and TLS is cut off",
    (
        Party.SERVER,
        Cause.NOT_TLS,
        None,
    ): "switch TLS on for {case.where}, or say which host and"
    " port a device must use: what answers there is not TLS",
    (Party.SERVER, Cause.TLS_VERSION, None): "switch on TLS 1.2 or 1.3 on {case.where}: it offers"
    " older versions only",
    (Party.SERVER, Cause.NO_COMMON_CIPHER, None): "switch on a present-day cipher suite (ECDHE with"
    " AES-GCM) on {case.where}, and say whether it wants a client certificate",
    (Party.SERVER, Cause.WEAK_KEY_EXCHANGE, None): "switch on ECDHE on {case.where}, or use"
    " Diffie-Hellman parameters of at least 2048 bits and signatures with SHA-256",
    (Party.SERVER, Cause.TLS_ALERT, None): "see in the log of {case.where} why it ends TLS with an"
    " alert, and let it speak HTTP/1.1 for WebSocket (ALPN)",
    (Party.SERVER, Cause.CERTIFICATE_EXPIRED, None): "renew the certificate {case.subject} that"
    " {case.where} sends: it ended on {case.ended}",
    (Party.SERVER, Cause.CERTIFICATE_NOT_YET_VALID, None): "see why the certificate {case.subject}"
    " that {case.where} sends is not valid yet",
    (Party.SERVER, Cause.CERTIFICATE_OTHER_NAME, None): "have the name {case.host} put into the"
    " certificate (and the configuration) of {case.where}, or say by which name to connect",
    (Party.SERVER, Cause.CERTIFICATE_SELF_SIGNED, None): "install a certificate from a CA on"
    " {case.where}, or send this one (PEM) so that the device can trust it (--ca FILE)",
    (Party.SERVER, Cause.INTERMEDIATE_MISSING, None): "install the whole chain on {case.where}: the"
    " certificate of the intermediate CA {case.issuer} is not sent",
    (Party.SERVER, Cause.INTERCEPTED, None): "say whether {case.issuer} is your own CA; if so, send"
    " its certificate (PEM), so that the device can trust it (--ca FILE)",
    (Party.SERVER, Cause.CERTIFICATE_WEAK, None): _INSTALL + "RSA of at least 2048 bits or ECDSA,"
    " signed with SHA-256, in the whole chain",
    (Party.SERVER, Cause.CERTIFICATE_PURPOSE, None): _INSTALL + "issued for TLS servers"
    " (serverAuth), by a certificate that is a CA",
    (Party.SERVER, Cause.CERTIFICATE_CONSTRAINT, None): _INSTALL + "without an extension or a"
    " constraint in the chain that forbids {case.host}",
    (Party.SERVER, Cause.CERTIFICATE_REVOKED, None): _INSTALL + "its CA has revoked it",
    (Party.SERVER, Cause.CERTIFICATE_BROKEN, None): _INSTALL + "it is damaged",
    (Party.SERVER, Cause.UPGRADE_SWALLOWED, None): "have the reverse proxy before {case.where} pass"
    " the request to upgrade on (nginx: proxy_http_version 1.1; proxy_set_header Upgrade"
    " $http_upgrade; proxy_set_header Connection upgrade)",
    (Party.SERVER, Cause.UPGRADE_REFUSED, None): _GIVE_PATH,
    (Party.SERVER, Cause.NOT_HTTP, None): "say which port serves MQTT over WebSocket and which MQTT"
    " over TLS: what answers on {case.where} is not HTTP",
    (Party.SERVER, Cause.SUBPROTOCOL_REFUSED, None): "say which host, port and path serve MQTT over"
    " WebSocket (subprotocol mqtt): {case.where}{case.path} opens a WebSocket for something else",
    (Party.SERVER, Cause.NOT_AUTHORIZED, Hop.UPGRADE): "open {case.where}{case.path} without a"
    " login over HTTP: a device logs in by MQTT",
    (Party.SERVER, Cause.SERVER_UNAVAILABLE, Hop.UPGRADE): "see whether the service behind"
    " {case.where} is up: a request for a WebSocket is answered with {case.status}",
    (Party.SERVER, Cause.THROTTLED, Hop.UPGRADE): "raise the limit for this device's address:"
    " {case.where} answers 429",
    (Party.SERVER, Cause.THROTTLED, None): "raise the limit of requests, or have fewer devices"
    " register at once: this device is answered 429",
    (Party.SERVER, Cause.SILENT, Hop.UPGRADE): "see why {case.where}{case.path} does not answer a"
    " request for a WebSocket",
    (
        Party.SERVER,
        Cause.CUT_OFF,
        Hop.UPGRADE,
    ): "see why {case.where}{case.path} closes on a"
    " request for a WebSocket, and say whether it wants a client certificate",
    (Party.SERVER, Cause.SILENT, Hop.CONNECT): "see in the log of {case.where} why it does not"
    " answer MQTT's CONNECT",
    (Party.SERVER, Cause.CUT_OFF, Hop.CONNECT): "see in the log of {case.where} why it closes on"
    " MQTT's CONNECT",
    (Party.SERVER, Cause.PROTOCOL_BROKEN, Hop.CONNECT): "say which host, port and path speak MQTT"
    " 3.1.1: what answers on {case.where} does not",
    (Party.SERVER, Cause.VERSION_REFUSED, None): "say on which host and port MQTT 3.1.1 is spoken:"
    " {case.where} answers that it does not speak it (CONNACK 1)",
    (Party.SERVER, Cause.SCOPE_UNKNOWN, None): "see whether the DPS instance with this id scope"
    " exists and serves: {case.where} answers that it is unavailable (CONNACK 3)",
    (Party.SERVER, Cause.CLIENT_CERTIFICATE_REFUSED, None): "have the CA of this device's"
    " certificate trusted on {case.where}, and see in its log why it refuses it",
    **{
        (Party.SERVER, cause, Hop.UPGRADE): "see whether a gateway of yours before {case.where}"
        " answers {case.status} to a request for a WebSocket, and have it let this device pass"
        for cause in (
            Cause.BLOCKED_BY_POLICY,
            Cause.CAPTIVE_PORTAL,
            Cause.PROXY_LOGIN_MISSING,
        )
    },
    # This machine
    (Party.HOST, Cause.NAME_UNKNOWN, None): "correct the name {case.host}, and check the search"
    " domain and name servers in /etc/resolv.conf",
    (Party.HOST, Cause.NAME_UNKNOWN, Hop.PROXY_NAME): "correct the name in the proxy's URL"
    " ({case.proxy}), or connect to the company's network or VPN first",
    (Party.HOST, Cause.NAME_SERVER_FAILED, None): "correct the name servers in /etc/resolv.conf"
    " (resolvectl dns, or nmcli)",
    (Party.HOST, Cause.PROXY_CANNOT_REACH, None): "correct the name {case.host}: the proxy does not"
    " know it",
    (Party.HOST, Cause.NO_ROUTE, None): "see ip address, ip route and the cable: this machine"
    " needs an address and a gateway (ip route add default via GATEWAY)",
    (
        Party.HOST,
        Cause.NO_IPV6,
        None,
    ): "switch IPv6 on (sysctl net.ipv6.conf.all.disable_ipv6=0),"
    " or name a proxy that has it (--proxy URL)",
    (Party.HOST, Cause.PROXY_LOGIN_MISSING, None): _LOGIN_FILE
    + "; who has no login asks the proxy's team for one",
    (Party.HOST, Cause.PROXY_LOGIN_REFUSED, None): "correct user name and password: " + _LOGIN_FILE,
    (Party.HOST, Cause.NOT_A_PROXY, None): "correct scheme, host and port of the proxy's URL (now"
    " {case.proxy}): --proxy URL, or the variable that names it",
    **{
        (Party.HOST, cause, hop): "correct scheme, host and port of the proxy's URL (now"
        " {case.proxy}): --proxy URL, or the variable that names it"
        for cause in (Cause.REFUSED, Cause.SILENT, Cause.CUT_OFF, Cause.NOT_TLS)
        for hop in (Hop.PROXY_TCP, Hop.PROXY_TLS, Hop.PROXY)
    },
    **{
        (Party.HOST, cause, None): "correct host, port or path (--port, --path; now"
        " {case.where}{case.path})"
        for cause in (
            Cause.NOT_TLS,
            Cause.NOT_HTTP,
            Cause.UPGRADE_REFUSED,
            Cause.SUBPROTOCOL_REFUSED,
            Cause.PROTOCOL_BROKEN,
        )
    },
    **{
        (Party.HOST, cause, None): "set this machine's clock (timedatectl set-ntp true, or date -s)"
        for cause in (Cause.CERTIFICATE_EXPIRED, Cause.CERTIFICATE_NOT_YET_VALID)
    },
    (
        Party.HOST,
        Cause.CERTIFICATE_OTHER_NAME,
        None,
    ): "connect by a name that the server's"
    " certificate holds ({case.names}) instead of {case.host}",
    (Party.HOST, Cause.CERTIFICATE_OTHER_NAME, Hop.PROXY_TLS): "name the proxy by a name that its"
    " certificate holds ({case.names})",
    (Party.HOST, Cause.INTERMEDIATE_MISSING, None): "renew this machine's list of CAs (apt-get"
    " install --only-upgrade ca-certificates; update-ca-certificates), or give that"
    " CA's certificate too (--ca FILE)",
    (Party.HOST, Cause.NO_TRUSTED_CA, None): "correct or remove SSL_CERT_FILE and SSL_CERT_DIR"
    " (unset SSL_CERT_FILE SSL_CERT_DIR), or apt-get install ca-certificates",
    (Party.HOST, Cause.NO_COMMON_CIPHER, None): "give the device's certificate and key (--cert FILE"
    " --cert-key FILE)",
    (Party.HOST, Cause.CLIENT_CERTIFICATE_MISSING, None): "give the device's certificate and key"
    " (--id-scope SCOPE --cert FILE --cert-key FILE)",
    (Party.HOST, Cause.CLIENT_CERTIFICATE_REFUSED, None): _OWN_CHAIN,
    (Party.HOST, Cause.CUT_OFF, Hop.CONNECT): "correct what its log names: port, user name, client"
    " id, or the device's certificate (--cert)",
    (Party.HOST, Cause.WRONG_KEY, None): "give the key or certificate that is enrolled for this"
    " registration id (--key-file FILE, --group-key, or --cert FILE)",
    (Party.HOST, Cause.NOT_ENROLLED, None): "correct --registration-id and --id-scope, or have the"
    " device enrolled",
    (Party.HOST, Cause.SCOPE_UNKNOWN, None): "correct --id-scope (it stands on the DPS instance's"
    " overview page)",
}
"""What to ask: by party, cause and hop; None for every other hop."""
