//! What a recipe leaves to the machine: ranks, images, and the names in the log.

use crate::{
    launch::{Images, LaunchError, Machine, RankLayout},
    recipe::RecipeFile,
    submission::{SystemDescription, SystemError},
};

/// Detects ranks and images. One error reports both if both are missing.
pub(super) fn settle(
    file: &RecipeFile,
    num_nodes: usize,
    machine: &Machine,
) -> Result<(RankLayout, Images), LaunchError> {
    let omp_num_threads = std::env::var("OMP_NUM_THREADS").ok();
    let num_ranks = file.run.num_ranks;
    if !num_ranks.is_multiple_of(num_nodes) {
        return Err(LaunchError::UnevenRanks { num_ranks, num_nodes });
    }
    let rank_layout = RankLayout::detect(file.run.device, num_ranks / num_nodes, machine)
        .map(|rank_layout| rank_layout.inheriting(omp_num_threads.as_deref()));
    match (rank_layout, Images::of(&file.data)) {
        (Ok(rank_layout), Ok(images)) => Ok((rank_layout, images)),
        (Err(LaunchError::NoGpu), Err(missing)) => Err(LaunchError::NoGpuNoImages(missing)),
        (Err(error), _) => Err(error),
        (Ok(_), Err(missing)) => Err(LaunchError::NoImages(missing)),
    }
}

/// Sets the submitter and the system for the log: from the named system's description, otherwise
/// from the recipe, otherwise from the machine.
pub(super) fn name_submitter(
    file: &mut RecipeFile,
    system: Option<&str>,
) -> Result<(), SystemError> {
    let described = system.map(SystemDescription::find).transpose()?.flatten();
    let mlperf = &mut file.mlperf;
    if let Some(system) = described {
        mlperf.org = system.submitter;
        mlperf.platform = system.system_name;
        system.status.log_word().clone_into(&mut mlperf.status);
        return Ok(());
    }
    let machine = SystemDescription::from_machine();
    for (field, value) in
        [(&mut mlperf.org, machine.submitter), (&mut mlperf.platform, machine.system_name)]
    {
        if field.is_empty() {
            *field = value;
        }
    }
    Ok(())
}
