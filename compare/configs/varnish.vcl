# Everything the super-node sends is kept for a day. Words in double braces are filled in by compare/peers/varnish.ts.
vcl 4.1;

backend super_node {
  .host = "{{ORIGIN_HOST}}";
  .port = "{{ORIGIN_PORT}}";
}

sub vcl_backend_response {
  set beresp.ttl = 1d;
  set beresp.do_stream = true;
}
