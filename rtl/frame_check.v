// SPDX-License-Identifier: Apache-2.0
//
// Keeps the layers in step with the images: whatever comes in, images of exactly BEATS beats go
// out.
//
// - tlast too early: the image is completed with zeros.
// - tlast too late: the beats beyond the image are swallowed, up to the one with tlast.
//
// For each image a flag says whether it was faulty (1), so that frame_drop can take its result out
// again; `frame_error` pulses for a clock at each faulty image. Latency: 0 clocks.

`default_nettype none

module frame_check #(
    parameter BEATS = 784,  // beats an image
    parameter WIDTH = 8     // bits of a beat
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [WIDTH-1:0] s_axis_tdata,
    input  wire             s_axis_tlast,
    input  wire             s_axis_tvalid,
    output wire             s_axis_tready,
    output wire [WIDTH-1:0] m_axis_tdata,
    output wire             m_axis_tlast,
    output wire             m_axis_tvalid,
    input  wire             m_axis_tready,
    output wire             m_flag_tdata,
    output wire             m_flag_tvalid,
    input  wire             m_flag_tready,
    output wire             frame_error
);

    localparam COUNT_WIDTH = (BEATS > 1) ? $clog2(BEATS) : 1;
    localparam [COUNT_WIDTH-1:0] COUNT_LAST = BEATS[COUNT_WIDTH-1:0] - 1'b1;

    localparam [1:0] PASS = 0, COMPLETE = 1, SWALLOW = 2;

    reg [1:0]             state_reg = PASS;
    reg [COUNT_WIDTH-1:0] count_reg = 0;
    reg                   last_reg  = BEATS == 1;  // the count is at its last
    reg                   flag_reg, flag_valid_reg = 1'b0, error_reg = 1'b0;

    // An image ends only when the flag of the one before it has been taken.
    wire allowed = !(last_reg && flag_valid_reg && !m_flag_tready);
    wire moved   = m_axis_tvalid && m_axis_tready;

    assign m_axis_tdata  = (state_reg == COMPLETE) ? {WIDTH{1'b0}} : s_axis_tdata;
    assign m_axis_tlast  = last_reg;
    assign m_axis_tvalid = allowed && (state_reg == COMPLETE
                                       || (state_reg == PASS && s_axis_tvalid));
    assign s_axis_tready = state_reg == SWALLOW || (state_reg == PASS && allowed && m_axis_tready);
    assign m_flag_tdata  = flag_reg;
    assign m_flag_tvalid = flag_valid_reg;
    assign frame_error   = error_reg;

    always @(posedge clk) begin
        error_reg <= 1'b0;
        if (m_flag_tready)
            flag_valid_reg <= 1'b0;
        if (moved) begin
            count_reg <= last_reg ? {COUNT_WIDTH{1'b0}} : count_reg + 1'b1;
            last_reg  <= BEATS == 1 || (!last_reg && count_reg == COUNT_LAST - 1'b1);
            if (last_reg) begin
                flag_valid_reg <= 1'b1;
                flag_reg       <= state_reg == COMPLETE || !s_axis_tlast;
                error_reg      <= state_reg == COMPLETE || !s_axis_tlast;
                state_reg      <= (state_reg == PASS && !s_axis_tlast) ? SWALLOW : PASS;
            end else if (state_reg == PASS && s_axis_tlast) begin
                state_reg <= COMPLETE;
            end
        end
        if (state_reg == SWALLOW && s_axis_tvalid && s_axis_tlast)
            state_reg <= PASS;
        if (rst) begin
            state_reg      <= PASS;
            count_reg      <= 0;
            last_reg       <= BEATS == 1;
            flag_valid_reg <= 1'b0;
            error_reg      <= 1'b0;
        end
    end

endmodule

`default_nettype wire
