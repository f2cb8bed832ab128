#!/usr/bin/perl
# Mojolicious, of Perl.
use Mojo::Base -strict;
use Mojo::IOLoop;
use Mojo::JSON 'encode_json';
use Mojo::UserAgent;
use Mojo::Util 'decode';

my ($url) = @ARGV;
my @steps = map { [split / /, decode('UTF-8', $_), 2] } grep {length} map { chomp; $_ } <STDIN>;
my %asked = map { $_->[0] => $_->[1] } reverse @steps;
my %seen = (protocol => '', code => 0, reason => '', status => 0, messages => []);

my $agent = Mojo::UserAgent->new(inactivity_timeout => 0);
my %headers = defined $asked{bearer} ? (Authorization => "Bearer $asked{bearer}") : ();
$headers{'Sec-WebSocket-Extensions'} = 'permessage-deflate' if exists $asked{compress};
$agent->websocket($url, \%headers, [split /,/, $asked{offer} // ''], sub {
  my (undef, $tx) = @_;
  if (!$tx->is_websocket) {
    $seen{status} = $tx->res->code // 0;
    return Mojo::IOLoop->stop;
  }
  $seen{protocol} = $tx->protocol // '';
  my $go = sub {
    while (@steps) {
      my ($verb, $text) = @{$steps[0]};
      if    ($verb eq 'send')   { $tx->send($text) }
      elsif ($verb eq 'await')  { return unless grep { index($_, $text) >= 0 } @{$seen{messages}} }
      elsif ($verb eq 'closed') {return}
      elsif ($verb eq 'close')  { $tx->finish(split / /, $text // '', 2) }
      shift @steps;
    }
  };
  $tx->on(text => sub {
    my (undef, $bytes) = @_;
    push @{$seen{messages}}, decode('UTF-8', $bytes);
    $go->();
  });
  $tx->on(finish => sub {
    my (undef, $code, $reason) = @_;
    @seen{qw(code reason)} = ($code, $reason // '');  # the loop ends when all is written
  });
  $go->();
});
Mojo::IOLoop->start;
$_ += 0 for @seen{qw(code status)};
say encode_json \%seen;
