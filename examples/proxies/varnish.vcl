# muster behind Varnish (7.1), which has no TLS: put hitch or HAProxy before it, and name that one in --trusted-proxy too.
# varnishd -a :80 -f /etc/varnish/muster.vcl -p pipe_timeout=75s
# pipe_timeout: longer than the heartbeat (--heartbeat), which is what an idle connection says.
# Reload: varnishadm vcl.load NAME /etc/varnish/muster.vcl && varnishadm vcl.use NAME
vcl 4.1;

backend muster {
  .host = "127.0.0.1";
  .port = "8080";
}

sub vcl_recv {
  # X-Forwarded-For has the client already.
  if (req.url == "/metrics") {
    return (synth(404));
  }
  if (req.http.Upgrade ~ "(?i)^websocket$") {
    return (pipe);
  }
  # The page and its scripts say no-cache, which is for browsers; what is asked about health is never kept.
  return (pass);
}

sub vcl_pipe {
  set bereq.http.Upgrade = req.http.Upgrade;
  set bereq.http.Connection = req.http.Connection;
}
