# C++ sources as the checks of them read them.
package Source;

use strict;
use warnings;
use Exporter qw(import);
use File::Find qw(find);

our @EXPORT_OK = qw(read_source source_files without);

# The C++ files below a directory, sorted.
sub source_files {
    my ($directory) = @_;
    my @files;
    find({ no_chdir => 1, wanted => sub { push @files, $_ if -f && /\.(?:[ch](?:pp|xx|h|c)?|ipp|inc)$/ } }, $directory);
    return sort @files;
}

sub read_source {
    my ($file) = @_;
    open my $in, '<', $file or die "$file: $!\n";
    local $/;
    return scalar <$in>;
}

# The source with what was asked for (comments, strings) blanked out; lines keep their numbers.
sub without {
    my ($source, %what) = @_;
    my $result = '';
    while (
        $source =~ m{\G(?:
              (?<comment> //(?:\\\n|[^\n])* | /\*.*?\*/ )
            | (?<string>  (?:u8|[uUL])?R"(?<mark>[^\s()\\]{0,16})\(.*?\)\k<mark>"
                        | (?:u8|[uUL])?"(?:\\.|[^"\\\n])*" )
            | (?<digits>  \b\d(?:'?\w)* )   # the ' of 10'000 begins no character
            | (?<string>  '(?:\\.|[^'\\\n])+' )
            | (?<code>    . )
        )}gsx
        )
    {
        my $text = $&;
        if (($what{comments} && defined $+{comment}) || ($what{strings} && defined $+{string})) {
            $text =~ s/[^\n]+/ /g;
        }
        $result .= $text;
    }
    return $result;
}

1;
