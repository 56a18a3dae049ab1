# Completion of larderctl for fish.
set -l verbs status watch metrics list show export plan label pin unpin remove train pause resume reload verify report suggest model import vacuum

function __larderctl_ids
    larderctl --json list --limit 1000 2>/dev/null | string match -ar '(?<="id": ")[0-9a-f]+'
end

function __larderctl_labels
    larderctl --json status 2>/dev/null | python3 -c 'import json, sys; print("\n".join(json.load(sys.stdin)["store"]["by_label"]))' 2>/dev/null
end

complete -c larderctl -f
complete -c larderctl -l socket -r -F -d 'control socket'
complete -c larderctl -l config -r -F -d 'settings to take the socket from'
complete -c larderctl -l json -d 'one JSON document'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a status -d 'what is stored, what is going on'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a watch -d 'the same, live'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a metrics -d 'the status for Prometheus'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a plan -d 'what would be kept under other limits'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a list -d 'images, by id'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a show -d 'one image and the reason for its quality'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a export -d 'all images as files'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a label -d 'give images a label'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a pin -d 'never degrade or drop these'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a unpin -d 'treat them like the others again'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a remove -d 'delete images from the store'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a train -d 'train when idle, or at once'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a pause -d 'no training until resume'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a resume -d 'training may run again'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a reload -d 'read the settings again'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a verify -d 'read everything back and check it'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a report -d 'one page of everything'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a suggest -d 'images worth a label'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a model -d 'the model as a file, or from one'
complete -c larderctl -n '__fish_seen_subcommand_from report model' -F
complete -c larderctl -n '__fish_seen_subcommand_from report' -l originals -x -a '(__fish_complete_directories)' -d 'captures to show beside the images'
complete -c larderctl -n '__fish_seen_subcommand_from model' -l use -r -F -d 'make this file the model'
complete -c larderctl -n '__fish_seen_subcommand_from metrics' -l output -r -F
complete -c larderctl -n '__fish_seen_subcommand_from suggest' -l limit -x
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a import -d 'pictures into the spool'
complete -c larderctl -n '__fish_seen_subcommand_from import' -a '(__fish_complete_directories)'
complete -c larderctl -n '__fish_seen_subcommand_from import' -l label -x -a '(__larderctl_labels)' -d 'of all of them'
complete -c larderctl -n '__fish_seen_subcommand_from import' -l wait -d 'until they have been taken'
complete -c larderctl -n '__fish_seen_subcommand_from export' -l format -x -a 'folder webdataset'
complete -c larderctl -n '__fish_seen_subcommand_from export' -l split -d 'training and validation apart'
complete -c larderctl -n "not __fish_seen_subcommand_from $verbs" -a vacuum -d 'free pages of the index back to the file system'
set -l chooses '__fish_seen_subcommand_from list export label pin unpin remove'
complete -c larderctl -n $chooses -l label -x -a '(__larderctl_labels)' -d 'of that label'
complete -c larderctl -n $chooses -l unlabelled -d 'without a label'
complete -c larderctl -n $chooses -l name -x -d 'whose file name fits the pattern'
complete -c larderctl -n $chooses -l since -x -d 'taken from then on'
complete -c larderctl -n $chooses -l until -x -d 'taken before then'
complete -c larderctl -n $chooses -l quality -x -d 'stored at that quality'
complete -c larderctl -n $chooses -l pinned -d 'pinned ones'
complete -c larderctl -n $chooses -l validation -d 'kept for validation'
complete -c larderctl -n '__fish_seen_subcommand_from list' -l sort -x -a 'id taken quality bytes label name sensitivity'
complete -c larderctl -n '__fish_seen_subcommand_from list' -l reverse
complete -c larderctl -n '__fish_seen_subcommand_from list' -l csv -d 'a table for spreadsheets'
complete -c larderctl -n '__fish_seen_subcommand_from label' -l csv -r -F -d 'labels from a table'
complete -c larderctl -n '__fish_seen_subcommand_from watch' -l interval -x
complete -c larderctl -n '__fish_seen_subcommand_from plan' -l max-use -x
complete -c larderctl -n '__fish_seen_subcommand_from list' -l limit -x
complete -c larderctl -n '__fish_seen_subcommand_from export' -a '(__fish_complete_directories)'
complete -c larderctl -n '__fish_seen_subcommand_from show' -l open -r -F
complete -c larderctl -n '__fish_seen_subcommand_from show label pin unpin remove' -a '(__larderctl_ids)'
complete -c larderctl -n '__fish_seen_subcommand_from label' -a '(__larderctl_labels)'
complete -c larderctl -n '__fish_seen_subcommand_from verify' -l repair -l force
complete -c larderctl -n '__fish_seen_subcommand_from train' -l now -l wait
