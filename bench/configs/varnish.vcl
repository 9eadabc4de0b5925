vcl 4.1;
backend electric {
    .host = "127.0.0.1";
    .port = "@UPSTREAM@";
    .first_byte_timeout = 90s;
    .between_bytes_timeout = 90s;
}
sub vcl_recv {
    unset req.http.Authorization; # or nothing would be shared
}
