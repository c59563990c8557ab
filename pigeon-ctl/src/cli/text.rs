//! The longer texts of the command line's help.

pub(super) const AFTER_HELP: &str = "\
Examples:
  pigeon-ctl dev                                   a whole gateway to try out, in this process
  pigeon-ctl login --server http://127.0.0.1:9800 --token-file data/admin.token
  pigeon-ctl engine add asr --static 10.0.0.7:50051,10.0.0.8:50051 --pool strict --slots 32
  pigeon-ctl route add asr --grpc speech.v1.Recognizer --engine asr
  pigeon-ctl status

More: pigeon-ctl help exit-codes, pigeon-ctl help environment";

pub(super) const LOGIN_HELP: &str = "\
Examples:
  pigeon-ctl login --server http://127.0.0.1:9800 --token-file data/admin.token
  pigeon-ctl login --server http://127.0.0.1:9800 --token-stdin --name lab < admin.token

The admin writes its token to admin.token in its data directory. A token never belongs on the command line.";

pub(super) const APPLY_HELP: &str = "\
Examples:
  pigeon-ctl apply -f gateway.yaml
  pigeon-ctl apply -f config/ -R --dry-run
  pigeon-ctl apply -f speech/ --owner speech --prune
  pigeon-ctl export | ssh other pigeon-ctl apply -f -

A folder stands for its files *.yaml, *.yml and *.json. Objects that are in no file stay as they are, but
for those of --owner with --prune.";

pub(super) const MAN_HELP: &str = "\
Examples:
  pigeon-ctl man | man -l -
  pigeon-ctl man --dir ~/.local/share/man/man1 && man pigeon-ctl-route-add";

pub(super) const LINT_HELP: &str = "\
Examples:
  pigeon-ctl lint -f gateway.yaml
  pigeon-ctl lint -f config/ -R --suppress PGN-R101 --suppress PGN-R104=route/chat
  pigeon-ctl lint -f config/ -o jsonl

It looks at the files alone, all of them together, as the file mode of a proxy would: a route whose
engine exists on the server only is a finding (PGN-R101). Whether apply would take the files is what
pigeon-ctl apply --dry-run says. pigeon-ctl explain CODE tells more about a finding.";

pub(super) const IMPORT_HELP: &str = "\
Documents go to standard output, what became of each key to standard error. Nothing is sent:
  pigeon-ctl import rpc-pigeon config/ | pigeon-ctl apply -f - --dry-run";

pub(super) const RPC_PIGEON_HELP: &str = "\
Examples:
  pigeon-ctl import rpc-pigeon config/ > gateway.yaml && pigeon-ctl lint -f gateway.yaml
  pigeon-ctl import rpc-pigeon config/ | pigeon-ctl diff -f -
  pigeon-ctl import rpc-pigeon config/ | pigeon-ctl apply -f -

Standard error names every key of every file and what became of it; with -q only what is not supported
or not known. Tokens of tenants become hashes of API keys: a caller sends pgk_ID_ and its old token.
A value that cannot be used is an error, and nothing is printed then.";

pub(super) const GATEWAY_API_HELP: &str = "\
Examples:
  kubectl get gateways,grpcroutes,httproutes -A -o yaml | pigeon-ctl import gateway-api - > gateway.yaml
  pigeon-ctl import gateway-api manifests/ --strict | pigeon-ctl apply -f -

A Service becomes an engine whose endpoint is NAME.NAMESPACE.svc:PORT. Standard error names everything
that has no counterpart. A match that cannot be kept whole is left out: its calls go to the next.";

pub(super) const EDIT_HELP: &str = "\
Examples:
  pigeon-ctl edit route/asr
  EDITOR='code --wait' pigeon-ctl edit engine/asr --dry-run

The editor is $VISUAL, or $EDITOR, or vi. What is saved replaces the object, if nobody else has changed
it meanwhile; a file saved as it was changes nothing. What is not valid is opened again on a terminal,
with the errors on top. A file that was not taken is kept, and its place is said.";

pub(super) const EVENTS_HELP: &str = "\
Examples:
  pigeon-ctl events
  pigeon-ctl events --topics config --since 42
  pigeon-ctl events -o jsonl | jq 'select(.event == \"config\") | .data.object'

Each proxy is shown first as it is, then whenever that changes. When the server goes away, it is waited
for, and what was missed of the configuration comes then. The time is when the event was received;
pigeon-ctl audit says when and by whom something was changed.";

pub(super) const EXPLAIN_HELP: &str = "\
Examples:
  pigeon-ctl explain PGN-R101
  pigeon-ctl explain engine
  pigeon-ctl explain route.match.grpc
  pigeon-ctl explain engine.spec.endpoints[0].weight -o json

The word spec may be left out. A code is explained as the admin does at /help/CODE.";

pub(super) const COMPLETION_HELP: &str = "\
Examples:
  bash    pigeon-ctl completion bash > ~/.local/share/bash-completion/completions/pigeon-ctl
  zsh     pigeon-ctl completion zsh > \"${fpath[1]}/_pigeon-ctl\"
  fish    pigeon-ctl completion fish > ~/.config/fish/completions/pigeon-ctl.fish";

#[cfg(feature = "dev")]
pub(super) const DEV_HELP: &str = "\
Selects a context named \"dev\", so that pigeon-ctl in another terminal just works. Ctrl-C stops it.
What was configured is kept for the next start, unless --ephemeral is given. --port is where the
listener \"default\" listens in this process, whatever is configured; a port of 0 is any free one.
PIGEON_LOG sets what is logged, such as pigeon_proxy=debug.";

pub(super) const EXIT_CODES: &str = "\
Exit codes, the same for every -o:

    0  done; or the answer is yes
    1  it worked, and the answer is no: diff found a change, lint a fault, import --strict a loss,
       no route matches, a proxy refused a write; or this machine does not allow it, as with a port in use
    2  usage: the command line, the configuration file or a file name is wrong
    3  the server cannot be reached or cannot serve
    4  not authenticated, or not permitted
    5  not found
    6  conflict: it exists already, is in use, or is not at the revision of --if-match
    7  rejected by validation
    8  timed out waiting for the server or for the proxies
   70  a bug in pigeon-ctl
  130  interrupted";

pub(super) const ENVIRONMENT: &str = "\
Environment variables. Flags go first, then these, then the context:

  PIGEON_CONTEXT     context to use, as -c
  PIGEON_SERVER      address of the admin, as --server
  PIGEON_TOKEN       the token itself
  PIGEON_TOKEN_FILE  file that holds the token, as --token-file
  PIGEON_CA          whoever signed the server's certificate, as --ca
  PIGEON_CERT        certificate to show to the server, as --cert
  PIGEON_KEY         its key, as --key
  PIGEON_CONFIG      the configuration file [default: $XDG_CONFIG_HOME/pigeon/config.yaml,
                     or ~/.config/pigeon/config.yaml]
  PIGEON_OUTPUT      table, json, jsonl or yaml, as -o
  PIGEON_NO_INPUT    never ask, as --no-input (any value but empty, 0, false, no); CI does the same
  NO_COLOR           no colours (any value but empty), as --color never
  VISUAL, EDITOR     the editor of pigeon-ctl edit [default: vi]

With -c, the server and the token of that context go before PIGEON_SERVER, PIGEON_TOKEN and
PIGEON_TOKEN_FILE. The token of a context is sent to the server of that context only.";
