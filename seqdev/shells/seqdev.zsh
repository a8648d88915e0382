#compdef seqdev
# Completion of seqdev's commands, options and names, for zsh. In ~/.zshrc, after compinit:
#     source <(seqdev completion zsh)
_seqdev() {
    local -a answer values shown
    local line
    answer=("${(@f)$(
        printf '%s\0' "${(@)words[1,CURRENT-1]}" "$PREFIX" | command seqdev completion zsh --words 2>/dev/null
    )}")
    if [[ ${answer[1]} == files ]]; then
        compset -P '--*='
        _files
        return
    fi
    [[ ${answer[1]} == values ]] || return 1
    for line in "${(@)answer[2,-1]}"; do
        values+=("${line%%$'\t'*}")
        shown+=("${${line/$'\t'/  -- }%  -- }")
    done
    compset -P '--*='
    # It is compadd that quotes them. Whatever the case is, as names are found.
    compadd -M 'm:{[:lower:][:upper:]}={[:upper:][:lower:]}' -V seqdev -l -d shown -a values
}
if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _seqdev "$@"
else
    compdef _seqdev seqdev
fi
