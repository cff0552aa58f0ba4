"""HANDLERS: each service's side effects in the order in which they are made, and what a death before each leaves."""

from tests.chaos.killpoints_shape import Handler, Point

NOTHING = "nothing"
FIRST = "it is the first run"


_SAID = "its ids follow from the cause: what was said before is not stored twice"
_ANSWERED = "the outcome of the approval is found in the stream: nothing is done"
_ACK = Point("ack", "everything is done, nobody knows", "each step finds that it was done, the same facts are said")

HANDLERS = (
    Handler(
        "labeling-sync",
        "project.defined",
        (
            Point("claim label-studio-project", NOTHING, FIRST),
            Point("label-studio POST projects", "a claim", "its own claim; it looks and finds no project"),
            Point("label-studio POST localfiles", "a project that shows no pictures", "it is found, and fitted"),
            Point("finish label-studio-project", "a project, its claim open", "it is found by its title"),
            Point("ack", "everything is done, nobody knows", "the claim names the project, nothing is changed"),
        ),
        # Of some requests Label Studio makes two projects.
        also=frozenset(("label-studio DELETE projects",)),
    ),
    Handler(
        "labeling-sync",
        "project.defined, changed",
        (
            Point("label-studio PATCH projects", NOTHING, FIRST),
            Point("ack", "the project asks for the new classes", "it does so already: nothing is changed"),
        ),
    ),
    Handler(
        "labeling-sync",
        "image.added",
        (
            Point("claim task", NOTHING, FIRST),
            Point("label-studio POST import", "a claim", "its own claim; it looks and finds no task"),
            Point("label-studio PATCH projects", "a task", "the task is found by the image's sha256"),
            Point("finish task", "a task, its claim open", "the task is found by the image's sha256"),
            Point("ack", "everything is done, nobody knows", "the claim names the task"),
        ),
        # Now and then an import loses its predictions, which are then made one by one.
        also=frozenset(("label-studio POST predictions",)),
    ),
    Handler(
        "labeling-sync",
        "feedback.given",
        (
            Point("claim label", NOTHING, "the claim names the image's task"),
            Point("label-studio POST annotations", "a claim", "its own claim; it gives the label"),
            Point("finish label", "an annotation, its claim open", "a second one of its unique id is refused"),
            Point("ack", "everything is done, nobody knows", "the claim says that the label was given"),
        ),
        # The job `labels` reads the label back and says it.
        also=frozenset(("say label.submitted", "save labels")),
    ),
    Handler(
        "labeling-sync",
        "dataset.requested",
        (
            Point("claim freeze", NOTHING, FIRST),
            Point("claim dataset", "a claim on the wish", "its own claim"),
            Point("blob parquet", "a claim on the number", "its own claim; it freezes again"),
            Point("finish dataset", "a manifest that nobody knows", "the same labels are the same bytes: stored once"),
            Point(
                "save frozen labels", "a version under its claim", "the version is said from the claim, without a look"
            ),
            Point("finish freeze", "labels counted as frozen", "the version is said from the claim on its number"),
            Point("say dataset.versioned", "the answer under the wish", "it is said from the claim on the wish"),
            Point("ack", "everything is done, nobody knows", "the same answer is said, and nothing looked at"),
        ),
    ),
    Handler(
        "labeling-sync",
        "training.completed",
        (
            Point("claim doubts", NOTHING, FIRST),
            Point("finish doubts", "a claim", "its own claim; it looks for doubtful labels again"),
            Point("claim doubt", "a choice that was kept", "what was kept is asked about, and nothing else"),
            Point("label-studio POST views", "a claim on the label", "its own claim; it looks for the tab"),
            Point("label-studio PATCH tasks", "a tab that is empty", "its own claim; the task does not wait yet"),
            Point("finish doubt", "a task that waits, its claim open", "the task waits: nothing is changed"),
            Point("say label.doubted", "the answer under the claim", "the claim says who asked: it is said"),
            Point("ack", "everything is done, nobody knows", "the claims say what was asked, the same is said"),
        ),
        # The job `labels` reads the task, which has changed.
        also=frozenset(("save labels",)),
    ),
    Handler(
        "labeling-sync",
        "by itself: labels",
        (
            Point("say label.submitted", NOTHING, "the cursor stands where it stood: the labels are read again"),
            Point("say label.submitted #2", "one of two labels said", _SAID),
            Point("save labels", "labels said, the cursor behind", _SAID),
            Point("claim dataset", "labels pending", "the policy finds them due"),
            Point("blob parquet", "a claim of the policy", "its own claim; it freezes again"),
            Point("finish dataset", "a manifest that nobody knows", "the same labels are the same bytes: stored once"),
            Point("say dataset.versioned", "a version under its claim", "the version is said from the claim"),
            Point("save frozen labels", "a version said, labels still pending", "nothing is new: they count as frozen"),
        ),
        at_once=True,
    ),
    Handler(
        "labeling-sync",
        "by itself: withdrawals",
        (
            Point("save labels", NOTHING, "the label is missed again"),
            Point("say label.withdrawn", "an image that waits for the next version", "nothing was said: missed again"),
        ),
    ),
    Handler(
        "labeling-sync",
        "by itself: labels, a second look",
        (
            Point("label-studio PATCH tasks", NOTHING, "the task waits: it is read again"),
            Point("say label.submitted", "a task that waits no longer", "the label is read again"),
            Point("save labels", "a label said, the cursor behind", _SAID),
        ),
    ),
    Handler(
        "labeling-sync",
        "by itself: withdrawals, a second look",
        (
            Point("label-studio PATCH tasks", NOTHING, "the label is missed again"),
            Point("save labels", "a task that waits no longer", "the label is missed again"),
            Point("say label.withdrawn", "an image that waits for the next version", "nothing was said: missed again"),
        ),
    ),
    Handler(
        "labeling-sync",
        "by itself: query",
        (
            Point("save predictions", NOTHING, "the window is read again"),
            Point("say image.added", "a choice that was kept", "what was kept is said, and nothing else is chosen"),
            Point("save predictions #2", "all said, the cursor behind", _SAID),
        ),
        also=frozenset(
            (
                "claim task",
                "label-studio POST import",
                "label-studio POST predictions",
                "label-studio PATCH projects",
                "finish task",
                "ack",
            )
        ),
        at_once=True,
    ),
    Handler(
        "trainer",
        "dataset.versioned",
        (
            Point("claim train", NOTHING, FIRST),
            Point("say training.started", "a claim", "its own claim"),
            Point("say training.progressed", "a start that was said", _SAID),
            Point("mlflow POST experiments/create", "a start that was said", "the run is looked for by its claim"),
            Point("mlflow POST runs/create", "an experiment", "it is found by its name"),
            Point("keep", "a run that goes on for ever", "it is found by its claim and gone on with"),
            Point("blob pt", "kept features, a run that goes on for ever", "it is found by its claim and gone on with"),
            Point("blob npz", "a model that nobody knows", "trained again; the run names the model that was logged"),
            Point("blob npz #2", "a model without its doubts", "trained again; the same bytes have the same name"),
            Point("mlflow POST runs/log-batch", "a run without numbers", "it is found by its claim"),
            Point("mlflow POST runs/log-inputs", "numbers without a dataset", "the same numbers are logged over them"),
            *(
                Point(f"mlflow PUT {name}", "some of the files, or none", "they are written over")
                for name in (
                    "MLmodel",
                    "golden.npz",
                    "input_example.json",
                    "loopline_model.py",
                    "model.pt",
                    "model_card.md",
                    "python_env.yaml",
                    "requirements.txt",
                    "serving_input_example.json",
                )
            ),
            Point("mlflow POST runs/update", "a complete run that goes on for ever", "all is logged again, then ended"),
            Point("finish train", "a finished run, its claim open", "it is found by its claim, and used"),
            Point("say training.completed", "the result under its claim", "it is said from the claim"),
            Point("ack", "everything is done, nobody knows", "it is said from the claim: the same fact"),
        ),
        # Where validation has images, and mistakes.
        also=frozenset(
            (
                "mlflow PUT confusion_matrix.png",
                "mlflow PUT reliability_diagram.png",
                "mlflow PUT worst_mistakes.png",
            )
        ),
        at_once=True,
    ),
    Handler(
        "trainer",
        "dataset.versioned, no model possible",
        (
            Point(
                "mlflow POST runs/set-tag", "a run that goes on for ever", "it is found by its claim, and fails again"
            ),
            Point(
                "mlflow POST runs/update",
                "a run with the reason, not ended",
                "it is found by its claim, and fails again",
            ),
            Point("release train", "a failed run, the claim open", "it is found by its claim, and fails again"),
            Point("say training.failed", "a failed run, no claim", "claimed again; the run is found by its claim"),
            Point("ack", "everything is done, nobody knows", "as before; " + _SAID),
        ),
        also=frozenset(
            (
                "claim train",
                "say training.started",
                "say training.progressed",
                "keep",
                "mlflow POST experiments/create",
                "mlflow POST runs/create",
            )
        ),
        at_once=True,
    ),
    Handler(
        "evaluator",
        "training.completed",
        (
            Point("keep", NOTHING, FIRST),
            Point("say evaluation.completed", "answers that are kept", "they are read instead of asked for again"),
            Point("ack", "everything is done, nobody knows", "judged again; " + _SAID),
        ),
    ),
    Handler(
        "evaluator",
        "by itself: watch",
        (
            Point("save reference", NOTHING, "the answers are read again"),
            Point("save watched", "a reference that no state names", "the same answers are the same reference"),
            Point("say drift.detected", "what was seen, and is to be said", "it is said, and nothing looked at again"),
            Point("say training.requested", "a drift that was said", _SAID),
            Point("save watched #2", "all said, the plan still there", _SAID),
        ),
    ),
    Handler(
        "registry",
        "evaluation.completed",
        (
            Point("claim register", NOTHING, FIRST),
            Point("mlflow POST registered-models/create", "a claim", "its own claim; it looks and finds no version"),
            Point("mlflow POST model-versions/create", "a model without versions", "it is found by its name"),
            Point(
                "mlflow POST model-versions/set-tag",
                "a version, its claim open",
                "it is found by its run and its model",
            ),
            Point("finish register", "its signature written down", "the same signature is made once more"),
            Point("say model.registered", "the version under its claim", "it is said from the claim"),
            Point("say model.approved", "a registration that was said", _SAID),
            _ACK,
        ),
    ),
    Handler(
        "registry",
        "deployment.completed",
        (
            Point("claim promote", NOTHING, FIRST),
            Point("mlflow POST model-versions/set-tag", "a claim", "its own claim"),
            Point("mlflow POST model-versions/set-tag #2", "who approved it written down", "the same is written again"),
            Point("mlflow POST registered-models/alias", "why it was approved, too", "its own claim"),
            Point("mlflow POST registered-models/alias #2", "`previous` set, `champion` not", "`champion` is set"),
            Point("finish promote", "both aliases set, the claim open", "they stand right: nothing is moved"),
            Point("say model.promoted", "both aliases set", "they are read, and the same is said"),
            _ACK,
        ),
    ),
    Handler(
        "registry",
        "model.rejected",
        (
            Point("mlflow POST model-versions/set-tag", NOTHING, FIRST),
            Point("mlflow POST model-versions/set-tag #2", "who said no written down", "the same is written again"),
            Point("mlflow POST registered-models/alias", "`previous` on what was rejected", "it is moved"),
            Point("ack", "everything is done, nobody knows", "the aliases stand right: nothing is moved"),
        ),
    ),
    Handler(
        "registry",
        "model.demoted",
        (
            Point("mlflow POST model-versions/set-tag", NOTHING, FIRST),
            Point("mlflow POST model-versions/set-tag #2", "who said no written down", "the same is written again"),
            Point("say model.approved", "a version that is to go", "the one before it is found in the stream"),
            Point("ack", "everything is done, nobody knows", "as before; " + _SAID),
        ),
    ),
    Handler(
        "registry",
        "by itself: by hand",
        (
            Point("blob pt", NOTHING, FIRST),
            Point("blob npz", "a model that nobody knows", "the same bytes are stored once"),
            Point("say training.completed", "its files in the store", "the same bytes are stored once"),
            Point("mlflow POST model-versions/set-tag", "what was brought is said", _SAID),
            Point("mlflow POST model-versions/set-tag #2", "a note for people", _SAID),
            Point("mlflow DELETE registered-models/alias", "`champion` on what does not serve", "it is taken back"),
        ),
    ),
    Handler(
        "deployer",
        "model.approved",
        (
            Point("say deployment.started", NOTHING, FIRST),
            Point("triton load", "a start that was said", _SAID),
            Point("save deployments", "a model without traffic", "the node has these bytes: checked, not loaded again"),
            Point("triton unload", "the route moved, an old model left", "what the route says to unload is unloaded"),
            Point("say deployment.completed", "the rollout is done", "what was done is kept with the route, and said"),
            Point("ack", "everything is done, nobody knows", _ANSWERED),
        ),
    ),
    Handler(
        "deployer",
        "model.approved, refused by its golden images",
        (
            Point("triton unload", "a bad model without traffic", "checked again, unloaded"),
            Point("say deployment.failed", "nothing on the node", "loaded, checked and unloaded again"),
            Point("ack", "everything is done, nobody knows", _ANSWERED),
        ),
        also=frozenset(("say deployment.started", "triton load")),
    ),
    Handler(
        "deployer",
        "by itself: reconcile",
        (
            Point("triton load", NOTHING, "the model is still missing on the node"),
            Point("save deployments", "a model that the route does not name the node of", "the node is named"),
        ),
    ),
    Handler(
        "predictor",
        "prediction.requested",
        (
            Point("blob png", NOTHING, FIRST),
            Point("blob png #2", "the image in the store", "the same bytes are stored once"),
            Point("say prediction.completed", "image and heat map in the store", "the same bytes are stored once"),
            Point("ack", "everything is done, nobody knows", "answered again; " + _SAID),
        ),
    ),
    Handler(
        "deployer",
        "any message that is refused",
        (
            Point("bury", NOTHING, FIRST),
            Point("say message.dead-lettered", "a dead letter that nobody was told of", "buried once, by its position"),
            Point("ack", "everything is done, nobody knows", "as before; " + _SAID),
        ),
    ),
)
