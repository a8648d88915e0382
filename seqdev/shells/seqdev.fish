# Completion of seqdev's commands, options and names, for fish. In ~/.config/fish/config.fish:
#     seqdev completion fish | source
function __seqdev_complete
    set -l current (commandline -ct)
    set -l answer (printf '%s\0' (commandline -opc) "$current" | command seqdev completion fish --words 2>/dev/null)
    switch "$answer[1]"
        case files
            __fish_complete_path "$current"
        case values
            # It is fish that quotes them.
            set -e answer[1]
            test (count $answer) -gt 0; and printf '%s\n' $answer
    end
end
complete --command seqdev --no-files --keep-order --arguments '(__seqdev_complete)'
