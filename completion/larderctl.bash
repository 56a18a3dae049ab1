# Completion of larderctl for bash.
_larderctl_ids()
{
	larderctl "${socket[@]}" --json list --limit 1000 2>/dev/null |
		grep -o '"id": *"[0-9a-f]*"' | grep -o '[0-9a-f]\{16\}'
}

_larderctl_labels()
{
	larderctl "${socket[@]}" --json status 2>/dev/null |
		python3 -c 'import json, sys; print("\n".join(json.load(sys.stdin)["store"]["by_label"]))' 2>/dev/null
}

_larderctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb='' i words='' socket=()
	local verbs='status watch metrics list show export plan label pin unpin remove train pause resume reload verify report suggest model import vacuum'
	local filters='--label --unlabelled --name --since --until --quality --pinned --validation'

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--socket|--config) socket+=("${COMP_WORDS[i]}" "${COMP_WORDS[i+1]}"); ((i++)) ;;
		-*) ;;
		*) verb=${COMP_WORDS[i]}; break ;;
		esac
	done
	case $prev in
	--socket|--config|--open|--output) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	--label) mapfile -t COMPREPLY < <(compgen -W "$(_larderctl_labels)" -- "$cur"); return ;;
	--sort) mapfile -t COMPREPLY < <(compgen -W 'id taken quality bytes label name sensitivity' -- "$cur"); return ;;
	--format) mapfile -t COMPREPLY < <(compgen -W 'folder webdataset' -- "$cur"); return ;;
	--quality|--limit|--interval|--max-use|--name|--since|--until) return ;;
	esac
	case $verb in
	'') words="$verbs --socket --config --json --help --version" ;;
	watch) words='--interval' ;;
	metrics) words='--output' ;;
	plan) words='--max-use' ;;
	list) words="$filters --sort --reverse --limit --csv" ;;
	export) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); words="$filters --format --split" ;;
	import) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); words='--label --wait' ;;
	report) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); words='--originals' ;;
	suggest) words='--limit' ;;
	model) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); words='--use' ;;
	train) words='--now --wait' ;;
	verify) words='--repair --force' ;;
	label) [ "$prev" = --csv ] && { mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return; }
		[ "$prev" = label ] && words="--csv $(_larderctl_labels)" || words="$filters $(_larderctl_ids)" ;;
	show) words="--open $(_larderctl_ids)" ;;
	pin|unpin|remove) words="$filters $(_larderctl_ids)" ;;
	esac
	mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _larderctl larderctl
