import numpy as np
import pytest
import torch

from agents import SCPO
from baselines.policy_export.policy_export import ExportRefusedError, export_policy, onnx_session


def moved(**settings):
    """An agent whose network is not zero any more, without training."""
    model = SCPO("MlpPolicy", "Safe/DoubleIntegrator-v0", validation_states=2, **settings)
    with torch.no_grad():
        for number, parameter in enumerate(model.policy.action_net.parameters()):
            parameter.normal_(generator=torch.Generator().manual_seed(number))
    return model


@pytest.mark.parametrize("clip_backup", [False, True])
def test_exported_residual_policy_acts_by_its_formula(tmp_path, clip_backup):
    """base + share phi(x / 5), clipped last, from the parts; near and far from the origin."""
    model = moved(policy_kwargs={"observation_scale": 5.0, "clip_backup": clip_backup})
    export_policy(model, model.observation_space, tmp_path / "policy.onnx", {})
    x = np.random.default_rng(0).uniform(-1.0, 1.0, size=(200, 2)).astype(np.float32)
    x[100:] *= 10.0
    mean, action = onnx_session((tmp_path / "policy.onnx").read_bytes()).run(
        ["mean", "action"], {"observation": x}
    )
    policy = model.policy
    with torch.no_grad():
        phi = policy.action_net.last(policy.mlp_extractor.hidden(torch.as_tensor(x) / 5.0)).numpy()
    base = -x @ np.array([[0.91707456], [1.63559619]])
    base = np.clip(base, -1.0, 1.0) if clip_backup else base
    share = np.minimum(np.linalg.norm(x, axis=1, keepdims=True) / 0.5, 1.0)
    np.testing.assert_allclose(mean, base + share * phi, atol=1e-5)
    np.testing.assert_allclose(action, np.clip(base + share * phi, -1.0, 1.0), atol=1e-5)
    np.testing.assert_allclose(action, model.predict(x, deterministic=True)[0], atol=1e-5)


def test_a_controller_that_is_code_is_refused(tmp_path):
    model = moved(safe_policy=lambda x: np.zeros((len(x), 1)))
    with pytest.raises(ExportRefusedError, match="PlainController, code that the file cannot hold"):
        export_policy(model, model.observation_space, tmp_path / "policy.onnx", {})
